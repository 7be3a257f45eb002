"""Two gateways with one service address: the lease, their link, the list of what is at risk."""
