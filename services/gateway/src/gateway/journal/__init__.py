"""Every attempt on local disk before it is sent, until Kafka has its event."""
