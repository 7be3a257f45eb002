"""What a chosen plan becomes: filters, networks, drafts of campaigns and profiles."""
