"""Takes jobs from the queue, one at a time, and has each trained by a child process."""
