"""Fine-tuning: any base, any stems."""
