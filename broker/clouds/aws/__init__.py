"""AWS: EC2 machines, capped by EventBridge Scheduler and by the machine itself."""
