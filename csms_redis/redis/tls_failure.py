"""What a failure of TLS means to an operator."""

import ssl


def tls_failure(error: ssl.SSLError) -> str:
    """One line that says what is wrong and, where that is plain, what to set."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        remedy = "" if "mismatch" in reason else "; redis.tls_ca_file names who signed it"
        return f"its certificate is refused: {reason}{remedy}"
    reason = (error.reason or "").lower().replace("_", " ")
    if "certificate required" in reason or "handshake failure" in reason:
        return f"TLS fails: {reason}; redis.tls_cert_file names the certificate that it may want"
    if "unknown ca" in reason or "bad certificate" in reason:
        return f"TLS fails: {reason}; it refuses the certificate in redis.tls_cert_file"
    return f"TLS fails: {reason or 'the connection ended'}; does it speak TLS at that port?"
