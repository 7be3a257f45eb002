"""The director: which device is to have which approved artefact, signed in the signer."""
