"""Pictures of flows, landscapes and phases, in colours that colour-blind people tell apart and shades that stay apart in grey."""
