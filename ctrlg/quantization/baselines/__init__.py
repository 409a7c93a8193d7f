"""What Norm-Q and log-norm-q are compared with."""
