"""The pages people see: complete without JavaScript, strict about what a browser may do with them."""
