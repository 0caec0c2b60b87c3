"""The site: local training, memory and the answers it gives to a coordinator."""
