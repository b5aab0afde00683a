"""What receipts say around their values, by language; English phrases occur everywhere."""

from __future__ import annotations

from random import Random
from typing import Final

from receipt_trainer.data.synthetic.text import pick

_ENGLISH: Final = {
    "subtotal": "Subtotal|Sub Total|SUB-TOTAL|Sub-Total|Total Sales|Item Total|Total (excl. disc.)|Amount",
    "total": (
        "Total|Grand Total|Total Due|Amount Due|Total Amount|NET TOTAL|Balance Due|TOTAL TO PAY|"
        "Total Sales (Incl. Tax)|Nett Total|Total Payable|BALANCE|Total (rounded)"
    ),
    "total_again": "Amount Due|Balance|To Pay|Nett Amount|Please Pay",
    "discount": "Discount|Member Discount|Promo|Voucher|Loyalty Disc|LESS DISCOUNT",
    "item_discount": "Discount|Saving|Markdown|Multibuy Save|Disc.",
    "service": "Service Charge 10%|Svc Chg 10%|10% Service|S.Charge",
    "rounding": "Rounding|Rounding Adj|ROUND ADJ.|Rounding Adjustment",
    "cash": "Cash|Cash Tendered|CASH|Tendered|Paid|Amount Paid",
    "change": "Change|Change Due|CHANGE|Your Change",
    "cashier": "Cashier|Served by|Operator|Clerk|Server|Staff|Your host",
    "date": "Date|DATE|Bill Date|Invoice Date|Dated|Trans Date",
    "time": "Time|TIME|At|Print Time",
    "phone": "Tel|TEL|Phone|Ph|Telephone|T|Contact",
    "invoice": "Invoice No|Receipt #|Inv#|Bill No|Doc No.|Order|Check|Trans",
    "title": "TAX INVOICE|Receipt|Simplified Tax Invoice|SALES RECEIPT|Invoice|Guest Check|Order Summary",
    "thanks": (
        "Thank you, come again|Thank you for shopping with us|Have a nice day!|Goods sold are not returnable|"
        "Please keep this receipt for exchange|See you soon|Follow us for weekly offers|Customer copy|"
        "Items may be exchanged within 14 days|Tell us how we did and win|*** THANK YOU ***|Please come again"
    ),
    "quantity": "Qty|QTY|No.|Qnty",
    "item": "Item|Description|Desc|Product|Article",
    "price": "Price|U.Price|Unit Price|@|Each",
    "amount": "Amount|Total|Amt|Price|Ext",
    "card": "VISA|MASTERCARD|Debit Card|AMEX|Credit Card|Card Payment|EFTPOS",
    "included": "incl.|Includes|Incl|of which",
    "count": "Items|Total Qty|No. of items|Item count|Total Items",
}
_OTHER: Final = {
    "de": {
        "subtotal": "Zwischensumme|Zw.-Summe",
        "total": "Summe|Gesamtbetrag|Zu zahlen|SUMME EUR|Gesamt",
        "total_again": "Zu zahlen|Betrag",
        "discount": "Rabatt|Nachlass",
        "cash": "Bar|Gegeben|BAR",
        "change": "Rückgeld|Zurück",
        "cashier": "Kasse|Bediener|Es bediente Sie",
        "date": "Datum",
        "time": "Uhrzeit|Zeit",
        "invoice": "Beleg-Nr.|Bon-Nr.|Rechnung",
        "title": "Rechnung|Kassenbon|Quittung",
        "thanks": "Vielen Dank für Ihren Einkauf|Auf Wiedersehen|Es gelten unsere AGB",
        "card": "Girocard|EC-Karte",
        "quantity": "Menge|Anz.",
        "item": "Artikel|Bezeichnung",
        "price": "Preis|E-Preis",
        "amount": "Betrag|EUR",
        "included": "enth.|inkl.",
        "item_discount": "Rabatt|Aktion",
        "count": "Artikel|Positionen",
    },
    "fr": {
        "subtotal": "Sous-total|S/Total",
        "total": "TOTAL TTC|Total à payer|Net à payer|Montant dû",
        "total_again": "A payer|Montant",
        "discount": "Remise|Réduction",
        "cash": "Espèces|Reçu",
        "change": "Rendu|A rendre",
        "cashier": "Caissier|Vendeur|Servi par",
        "date": "Date|Le",
        "time": "Heure|à",
        "phone": "Tél|Tél.|Tel",
        "invoice": "Ticket|Facture n°|Note",
        "title": "Ticket de caisse|Facture|Note",
        "thanks": "Merci de votre visite|A bientôt|Conservez votre ticket",
        "card": "CB|Carte bancaire",
        "quantity": "Qté",
        "item": "Désignation|Article",
        "price": "P.U.|Prix",
        "amount": "Montant|Total",
        "included": "dont",
        "item_discount": "Remise|Promo",
        "count": "Articles",
    },
    "id": {
        "subtotal": "Subtotal|Sub Total|Jumlah",
        "total": "Total|Grand Total|TOTAL BAYAR|Total Belanja",
        "cash": "Tunai|Cash|Bayar",
        "change": "Kembali|Kembalian",
        "cashier": "Kasir",
        "date": "Tgl|Tanggal",
        "time": "Jam|Waktu",
        "phone": "Telp|Telp.|HP",
        "invoice": "No. Nota|Struk|No",
        "thanks": "Terima kasih|Terima kasih atas kunjungan anda|Selamat datang kembali",
        "discount": "Diskon|Potongan",
        "title": "Nota|Struk Pembayaran",
        "service": "Service|Service Charge",
        "amount": "Jumlah|Harga",
    },
}


def phrase(rng: Random, language: str, key: str) -> str:
    """A phrase for `key`; a language that has its own uses an English one now and then."""
    own = _OTHER.get(language, {}).get(key)
    return pick(rng, own if own and rng.random() < 0.85 else _ENGLISH[key])
