"""What is installed beside this package: the libraries it needs, and packages that add targets."""
