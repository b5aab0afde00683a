"""`python -m receipt_trainer`: the same as `receipt-trainer`."""

from receipt_trainer.cli.receipt_trainer import main

if __name__ == "__main__":
    main()
