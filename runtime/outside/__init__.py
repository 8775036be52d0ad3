"""Read what comes from outside: files of any kind and arrays, believing nothing about them."""
