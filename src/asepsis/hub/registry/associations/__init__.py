"""Which device is used for which patient: proposed by ADT and place, confirmed by who may."""
