"""MDC nomenclature, UCUM units and translations between dialects, loss accounted. Pure."""
