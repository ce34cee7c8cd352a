"""Earlier results of pure operators: kept on this machine, and why one is not found."""
