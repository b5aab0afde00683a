"""English, German, French, Spanish and Italian documents."""

from __future__ import annotations

from typing import Final

from receipt_trainer.models.paddleocr_vl.synthetic.language import Language, words

WEST: Final = (
    Language(
        code="en",
        point=".",
        thousands=",|",
        dates="%d %B %Y|%B %-d, %Y|%Y-%m-%d|%d %b %Y",
        currencies=(("USD", 5), ("GBP", 3), ("EUR", 1), ("INR", 2), ("CHF", 1), ("JPY", 1), ("KWD", 1)),
        rates=("5", "6.25", "7", "8.25", "8.875", "10", "18", "20"),
        on_top=True,
        words=words(
            *("Invoice|INVOICE|Tax Invoice", "Receipt|SALES RECEIPT|Cash Receipt", "Invoice no.|Invoice #|No."),
            *("Date|Invoice date|Date of issue", "Due date|Payment due|Pay by", "Bill to|Billed to|Sold to"),
            *("Phone|Tel.|Tel", "Tax ID|VAT no.|Reg. no.", "Description|Item|Service", "Qty|Quantity"),
            *("Unit price|Price|Rate", "Amount|Total|Line total", "Subtotal|Sub-total|Net amount"),
            *("Discount|Less discount|Promo", "Tax|Sales tax|VAT|GST", "incl. VAT|of which tax"),
            *("Total|TOTAL|Amount due|Balance due", "Rounding", "Reverse charge: tax to be paid by the recipient."),
            "Thank you for your business|Thank you!|Please call again",
            "Payment within 30 days by bank transfer.|Goods remain ours until paid in full.",
        ),
        months="January|February|March|April|May|June|July|August|September|October|November|December",
        products=(
            "Whole milk 1 l|Sourdough bread|Free range eggs|Ground coffee 500 g|Green apples|Orange juice|"
            "Cheddar cheese|"
            "Butter, salted|Basmati rice 2 kg|Paper towels|Dish soap|AA batteries, pack of 8|Chicken salad sandwich|"
            "Sparkling water|Dark chocolate bar|LED bulb E27|Notebook A5, ruled|Ballpoint pens|USB-C cable 2 m|"
            "Wood screws 4 x 40"
        ),
        services=(
            "Consulting, on site|Website maintenance|Logo design and brand guide|Annual software licence|"
            "Office cleaning|"
            "Server hosting, monthly|Translation of user manual|Electrical installation|Delivery and packaging|"
            "Staff training day|"
            "Accounting services|Repair of heating pump|Photography, half day|Security audit with written report|"
            "Spare parts kit"
        ),
        people=(
            "Miller|Carter|Hughes|Bennett|Fletcher|Osborne|Whitfield|Larkin|Dalton|Mercer|Ashby|Kendrick|Rowe|Sterling"
        ),
        firms=(
            "{name} & {name} Ltd|{name} Supplies Inc.|{name} Market|{name}'s Corner Shop|{name} Consulting LLC|"
            "{name} Hardware"
        ),
        cities="Springfield, IL #####|Leeds LS# #??|Bristol BS# #??|Madison, WI #####|Portland, OR #####|Cork T12 ??##",
        streets="{n} {name} Street|{n} {name} Road|{n} {name} Avenue|Unit {n}, {name} Park",
        phones="(###) ###-####|+44 #### ######|###-###-####|+1 ### ### ####",
        tax_ids="GB### #### ##|##-#######|IE#######?",
        symbol_first=True,
        space="",
    ),
    Language(
        code="de",
        point=",",
        thousands=".|",
        dates="%d.%m.%Y|%-d. %B %Y|%d.%m.%Y",
        currencies=(("EUR", 5), ("CHF", 2)),
        rates=("7", "19", "20", "8.1", "2.6"),
        on_top=False,
        words=words(
            *("Rechnung|RECHNUNG", "Quittung|Kassenbon|Kassenbeleg", "Rechnungsnummer|Rechnung Nr.|Beleg-Nr."),
            *("Datum|Rechnungsdatum", "Fällig am|Zahlbar bis", "An|Rechnung an|Kunde", "Tel.|Telefon"),
            *("USt-IdNr.|Steuernummer", "Bezeichnung|Artikel|Leistung", "Menge|Anzahl", "Einzelpreis|Preis"),
            *("Betrag|Gesamt|Summe", "Zwischensumme|Nettobetrag", "Rabatt|Nachlass", "MwSt.|USt."),
            *("inkl. MwSt.|enthaltene MwSt.", "Gesamtbetrag|Summe|Zu zahlen|TOTAL", "Rundung"),
            *("Steuerschuldnerschaft des Leistungsempfängers.", "Vielen Dank für Ihren Einkauf|Vielen Dank!"),
            "Zahlbar ohne Abzug innerhalb von 14 Tagen.",
        ),
        months="Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember",
        products=(
            "Vollmilch 3,5 %|Roggenbrot 750 g|Bio-Eier Größe M|Gemahlener Kaffee|Äpfel Elstar|Käse in Scheiben|"
            "Müllbeutel 20 l|"
            "Spülmittel|Nussecke|Brötchen|Süßkartoffeln|Mineralwasser|Schwarzwälder Schinken|Glühlampe E14|Küchenrolle"
        ),
        services=(
            "Beratung vor Ort|Wartung der Heizungsanlage|Übersetzung Bedienungsanleitung|Gestaltung Broschüre|"
            "Büroreinigung|"
            "Montage und Anfahrt|Softwarelizenz, jährlich|Prüfung ortsfester Geräte|Schulung, ganztägig|"
            "Ersatzteile Förderband|"
            "Grünpflege Außenanlage|Entsorgung Altgerät"
        ),
        people="Müller|Schäfer|Krüger|Weiß|Hoffmann|Lindner|Jäger|Böhm|Vogel|Seidel|Großmann|Köhler|Brandt|Pfeiffer",
        firms=(
            "{name} GmbH|Bäckerei {name}|{name} & Söhne KG|{name} Haustechnik GmbH|Getränke {name}|Ingenieurbüro {name}"
        ),
        cities="##### Köln|##### Lübeck|##### Würzburg|##### Görlitz|##### Kassel|CH-#### Zürich|A-#### Graz",
        streets="{name}straße {n}|Am {name}platz {n}|{name}weg {n}|Große Gasse {n}",
        phones="0### / ######|+49 ### #######|0#### ######",
        tax_ids="DE#########|##/###/#####|ATU########",
    ),
    Language(
        code="fr",
        point=",",
        thousands="\u00a0|",
        dates="%d/%m/%Y|%-d %B %Y",
        currencies=(("EUR", 5), ("CHF", 1)),
        rates=("5.5", "10", "20"),
        on_top=True,
        words=words(
            *("Facture|FACTURE", "Reçu|Ticket de caisse", "Facture n°|Numéro", "Date|Date d'émission"),
            *("Échéance|À payer avant le", "Facturé à|Client|Destinataire", "Tél.|Téléphone", "N° TVA|SIRET"),
            *("Désignation|Article|Prestation", "Qté|Quantité", "Prix unitaire|P.U.", "Montant|Total"),
            *("Sous-total|Total HT", "Remise|Rabais", "TVA", "dont TVA|TVA incluse", "Total TTC|Net à payer|TOTAL"),
            *("Arrondi", "Autoliquidation de la TVA.", "Merci de votre visite|Merci et à bientôt"),
            "Paiement à réception de la facture.",
        ),
        months="janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre",
        products=(
            "Baguette tradition|Crème fraîche 20 cl|Café moulu 250 g|Pommes Gala|Fromage de chèvre|"
            "Lait demi-écrémé|Œufs plein air|"
            "Thé à la menthe|Jus d'orange pressé|Pâtes fraîches|Éponges, lot de 3|Savon de Marseille|Tarte aux pêches"
        ),
        services=(
            "Conseil sur site|Maintenance du réseau|Création de site|Nettoyage des bureaux|Réparation de chaudière|"
            "Livraison express|"
            "Formation à la sécurité|Hébergement annuel|Impression de brochures|Étude de faisabilité|Pièces détachées"
        ),
        people=(
            "Lefèvre|Moreau|Géraud|Bonnet|Chevallier|Dupré|Rousseau|Garnier|Bérenger|Perrin|Aubry|Noël|Maçon|Delorme"
        ),
        firms="{name} SARL|Boulangerie {name}|Ateliers {name} SAS|Épicerie {name}|{name} et Fils|Cabinet {name}",
        cities="##### Besançon|##### Nîmes|##### Orléans|##### Dijon|##### Angoulême|##### Béziers",
        streets="{n}, rue {name}|{n}, avenue du Général {name}|{n}, allée des Chênes|{n} bis, place {name}",
        phones="0# ## ## ## ##|+33 # ## ## ## ##",
        tax_ids="FR## #########|### ### ### #####",
    ),
    Language(
        code="es",
        point=",",
        thousands=".|",
        dates="%d/%m/%Y|%-d de %B de %Y",
        currencies=(("EUR", 5), ("MXN", 2)),
        rates=("4", "10", "16", "21"),
        on_top=True,
        words=words(
            *("Factura|FACTURA", "Recibo|Ticket de compra", "Factura n.º|Número", "Fecha|Fecha de emisión"),
            *("Vencimiento", "Cliente|Facturar a", "Tel.|Teléfono", "NIF|CIF", "Descripción|Concepto|Artículo"),
            *("Cant.|Cantidad", "Precio|Precio unitario", "Importe|Total", "Subtotal|Base imponible", "Descuento"),
            *("IVA", "IVA incluido", "Total|TOTAL A PAGAR|Total factura", "Redondeo", "Inversión del sujeto pasivo."),
            *("¡Gracias por su compra!|Gracias", "Pago por transferencia a 30 días."),
        ),
        months="enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre",
        products=(
            "Aceite de oliva 1 l|Jamón serrano|Pan de molde|Café con leche|Queso manchego|Leche semidesnatada|"
            "Champú de camomila|"
            "Piña natural|Atún en aceite|Galletas de limón|Muñeca de trapo|Bombilla LED|Papel higiénico"
        ),
        services=(
            "Asesoría fiscal|Diseño de página web|Reparación de caldera|Limpieza de oficinas|Instalación eléctrica|"
            "Traducción técnica|"
            "Formación de personal|Mantenimiento de jardín|Envío urgente|Revisión anual del ascensor"
        ),
        people="Muñoz|García|Ibáñez|Peña|Cordón|Núñez|Ortega|Vázquez|Solís|Galván|Méndez|Rincón|Cañada|Bravo",
        firms="{name} S.L.|Panadería {name}|Talleres {name} S.A.|Librería {name}|{name} y Asociados|Ferretería {name}",
        cities="##### Cádiz|##### León|##### Málaga|##### Logroño|##### Cáceres|##### Jaén",
        streets="C/ {name}, {n}|Avda. de {name}, {n}|Plaza {name}, {n}|Paseo de {name}, {n}",
        phones="9## ## ## ##|+34 ### ### ###",
        tax_ids="B########|########?",
    ),
    Language(
        code="it",
        point=",",
        thousands=".|",
        dates="%d/%m/%Y|%-d %B %Y",
        currencies=(("EUR", 5), ("CHF", 1)),
        rates=("4", "10", "22"),
        on_top=True,
        words=words(
            *("Fattura|FATTURA", "Ricevuta|Scontrino", "Fattura n.|Numero", "Data|Data di emissione", "Scadenza"),
            *("Spett.le|Cliente", "Tel.|Telefono", "P. IVA|Partita IVA", "Descrizione|Articolo", "Q.tà|Quantità"),
            *("Prezzo|Prezzo unitario", "Importo|Totale", "Imponibile|Subtotale", "Sconto", "IVA", "di cui IVA"),
            *("Totale|TOTALE|Totale da pagare", "Arrotondamento", "Inversione contabile."),
            *("Grazie e arrivederci|Grazie!", "Pagamento a 30 giorni data fattura."),
        ),
        months="gennaio|febbraio|marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre",
        products=(
            "Caffè macinato|Parmigiano 24 mesi|Pane integrale|Latte fresco|Mozzarella di bufala|Tè alla pesca|"
            "Pomodori pelati|"
            "Olio extravergine|Insalata mista|Prosciutto crudo|Gelato alla nocciola|Detersivo piatti"
        ),
        services=(
            "Consulenza tecnica|Manutenzione caldaia|Progetto grafico|Pulizia uffici|Attività di formazione|"
            "Trasporto merci|"
            "Verifica di qualità|Licenza annuale|Noleggio attrezzature|Stampa manifesti"
        ),
        people=(
            "Bianchi|Ferraro|De Luca|Moretti|Gallo|Niccolò|Fontana|Barbieri|Serra|Villa|Marchetti|Donà|Pellegrini|Conti"
        ),
        firms="{name} S.r.l.|Panificio {name}|Officina {name}|Ristorante da {name}|Studio {name}|Caffè {name}",
        cities="##### Forlì FC|##### Modena MO|##### Cantù CO|##### Lecce LE|##### Padova PD",
        streets="Via {name}, {n}|Piazza {name}, {n}|Viale {name}, {n}|Corso {name}, {n}",
        phones="0## #######|+39 ### #######",
        tax_ids="IT###########",
    ),
)
