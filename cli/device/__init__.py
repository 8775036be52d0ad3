"""The program of a bundle: what ``python model.bundle COMMAND`` does on a device."""
