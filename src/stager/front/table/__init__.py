"""The live route table and what is looked up in it."""
