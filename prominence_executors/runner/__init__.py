"""What runs inside of a job to make a function call there."""
