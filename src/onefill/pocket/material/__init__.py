"""What the embedded models learn from: drawings, photographs and fonts, and scenes made of them."""
