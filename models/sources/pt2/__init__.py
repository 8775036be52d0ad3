"""Files of ``torch.export.save``, read without running anything in them."""
