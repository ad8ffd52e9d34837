"""What the agents' door can do, for many commands of many callers at once; views and other shells call it."""
