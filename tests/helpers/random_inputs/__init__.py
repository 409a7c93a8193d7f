"""Random contents, HMMs and constraints in parts that tests are tried on."""
