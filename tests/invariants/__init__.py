"""What must hold after every test and every fault: violations come back as sentences."""
