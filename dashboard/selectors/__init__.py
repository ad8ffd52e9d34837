"""What the pages show, put together from the domain apps' selectors."""
