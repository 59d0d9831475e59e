"""How the embedded policy is made: its VAE and its flow."""
