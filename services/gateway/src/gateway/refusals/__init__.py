"""Why a call was refused, in the caller's dialect and language."""
