"""What a Linode account holds and what its API's operations do to it: values and synchronous functions, no HTTP."""
