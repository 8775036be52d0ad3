"""What the HTML report is made of: style, script, and one template for each of its sections."""
