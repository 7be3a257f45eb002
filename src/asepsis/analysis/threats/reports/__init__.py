"""What an analysis says to build servers, committees and the parties of an agreement."""
