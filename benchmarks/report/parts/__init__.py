"""Parts of the HTML report: style, script, and one template per section."""
