"""What serves calls: servers, health, reflection, the life of a process, what requests have in common."""
