"""Which databases hold the slots, and how slots come to be on another one."""
