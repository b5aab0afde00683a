"""Polish, Turkish, Greek and Russian documents."""

from __future__ import annotations

from typing import Final

from receipt_trainer.models.paddleocr_vl.synthetic.language import Language, words

EAST: Final = (
    Language(
        code="pl",
        point=",",
        thousands="\u00a0|",
        dates="%d.%m.%Y|%Y-%m-%d",
        currencies=(("PLN", 5), ("EUR", 1)),
        rates=("5", "8", "23"),
        on_top=True,
        words=words(
            *("Faktura|Faktura VAT", "Paragon|Paragon fiskalny", "Numer|Faktura nr", "Data|Data wystawienia"),
            *("Termin płatności", "Nabywca", "Tel.|Telefon", "NIP", "Nazwa|Opis", "Ilość", "Cena|Cena jedn."),
            *("Wartość|Kwota", "Suma częściowa|Wartość netto", "Rabat|Zniżka", "VAT|Podatek", "w tym VAT"),
            *("Razem|Do zapłaty|SUMA", "Zaokrąglenie", "Odwrotne obciążenie.", "Dziękujemy za zakupy|Dziękujemy!"),
            "Płatność przelewem w ciągu 14 dni.",
        ),
        months="stycznia|lutego|marca|kwietnia|maja|czerwca|lipca|sierpnia|września|października|listopada|grudnia",
        products=(
            "Chleb żytni|Masło śmietankowe|Mleko świeże 2 %|Jabłka ligol|Ser żółty|Kawa mielona|Śmietana 18 %|"
            "Pączek z różą|"
            "Płyn do naczyń|Ręcznik papierowy|Woda źródlana|Kiełbasa wiejska|Ołówki HB"
        ),
        services=(
            "Usługa doradcza|Montaż instalacji|Sprzątanie biura|Przegląd techniczny|Tłumaczenie przysięgłe|"
            "Projekt wnętrza|"
            "Naprawa urządzeń|Licencja roczna|Dostawa i rozładunek|Szkolenie BHP"
        ),
        people="Wójcik|Dąbrowska|Kołodziej|Żak|Łukasik|Gałązka|Śliwa|Kamiński|Zięba|Piątek|Górski|Wróbel",
        firms="{name} Sp. z o.o.|Piekarnia {name}|Zakład {name}|Hurtownia {name}|Sklep u {name}|Usługi {name}",
        cities="##-### Łódź|##-### Gdańsk|##-### Kraków|##-### Rzeszów|##-### Bielsko-Biała",
        streets="ul. {name} {n}|al. Słoneczna {n}|ul. Długa {n}|pl. {name} {n}",
        phones="+48 ### ### ###|## ### ## ##",
        tax_ids="###-###-##-##|PL##########",
    ),
    Language(
        code="tr",
        point=",",
        thousands=".|",
        dates="%d.%m.%Y|%d/%m/%Y|%-d %B %Y",
        currencies=(("TRY", 5), ("EUR", 1)),
        rates=("1", "10", "20"),
        on_top=True,
        words=words(
            *("Fatura|FATURA", "Fiş|Satış fişi", "Fatura no|No", "Tarih|Düzenleme tarihi", "Son ödeme|Vade tarihi"),
            *("Alıcı|Sayın", "Tel|Telefon", "Vergi no|VKN", "Açıklama|Ürün", "Miktar|Adet", "Birim fiyat|Fiyat"),
            *("Tutar", "Ara toplam", "İndirim|İskonto", "KDV", "KDV dahil", "Toplam|Genel toplam|Ödenecek tutar"),
            *("Yuvarlama", "KDV alıcı tarafından ödenir.", "Teşekkür ederiz|İyi günler dileriz"),
            "Ödeme 30 gün içinde yapılır.",
        ),
        months="Ocak|Şubat|Mart|Nisan|Mayıs|Haziran|Temmuz|Ağustos|Eylül|Ekim|Kasım|Aralık",
        products=(
            "Günlük süt|Köy ekmeği|Çay 500 g|Türk kahvesi|Beyaz peynir|Zeytinyağı 1 l|Kırmızı biber|Şeftali suyu|"
            "Bulaşık deterjanı|"
            "Yoğurt 1 kg|Fıstıklı baklava|Kâğıt havlu"
        ),
        services=(
            "Danışmanlık hizmeti|Yazılım lisansı|Büro temizliği|Isıtma bakımı|Çeviri hizmeti|Nakliye ve kurulum|"
            "Eğitim günü|"
            "Grafik tasarım|Yedek parça|Güvenlik denetimi"
        ),
        people="Yıldız|Öztürk|Şahin|Çelik|Aydın|Güneş|Doğan|Kılıç|Işık|Özgür|Tunç|Ersoy",
        firms="{name} Ltd. Şti.|{name} Market|{name} Fırını|{name} Mühendislik A.Ş.|{name} Kırtasiye",
        cities="##### İzmir|##### Eskişehir|##### Muğla|##### Çanakkale|##### Diyarbakır",
        streets="{name} Sok. No: {n}|Atatürk Cad. No: {n}|{name} Mah. {n}. Sok.",
        phones="0### ### ## ##|+90 ### ### ## ##",
        tax_ids="##########",
    ),
    Language(
        code="el",
        point=",",
        thousands=".|",
        dates="%d/%m/%Y|%-d %B %Y",
        currencies=(("EUR", 1),),
        rates=("6", "13", "24"),
        on_top=True,
        words=words(
            *("Τιμολόγιο|ΤΙΜΟΛΟΓΙΟ", "Απόδειξη|Απόδειξη λιανικής", "Αριθμός|Αρ. τιμολογίου", "Ημερομηνία"),
            *("Πληρωτέο έως", "Προς|Πελάτης", "Τηλ.", "ΑΦΜ", "Περιγραφή|Είδος", "Ποσ.|Ποσότητα", "Τιμή|Τιμή μονάδας"),
            *("Αξία|Ποσό", "Μερικό σύνολο|Καθαρή αξία", "Έκπτωση", "ΦΠΑ", "με ΦΠΑ", "Σύνολο|ΣΥΝΟΛΟ|Πληρωτέο"),
            *("Στρογγυλοποίηση", "Αντίστροφη επιβάρυνση.", "Ευχαριστούμε", "Εξόφληση εντός 30 ημερών."),
        ),
        months=(
            "Ιανουαρίου|Φεβρουαρίου|Μαρτίου|Απριλίου|Μαΐου|Ιουνίου|Ιουλίου|Αυγούστου|Σεπτεμβρίου|Οκτωβρίου|"
            "Νοεμβρίου|Δεκεμβρίου"
        ),
        products=(
            "Γάλα πλήρες|Ψωμί ολικής|Φέτα ΠΟΠ|Ελαιόλαδο 1 λ|Καφές ελληνικός|Μέλι θυμαρίσιο|Ντομάτες|"
            "Χυμός πορτοκάλι|Σαπούνι"
        ),
        services=(
            "Συμβουλευτικές υπηρεσίες|Συντήρηση κλιματιστικών|Μετάφραση κειμένων|Καθαρισμός γραφείων|"
            "Μεταφορά και τοποθέτηση"
        ),
        people="Παπαδόπουλος|Γεωργίου|Νικολάου|Οικονόμου|Μακρής|Ζαχαρίας|Αλεξίου|Βασιλείου",
        firms="{name} ΕΠΕ|Αρτοποιείο {name}|Αφοί {name}|{name} ΑΕ|Παντοπωλείο {name}",
        cities="Αθήνα ### ##|Θεσσαλονίκη ### ##|Πάτρα ### ##|Βόλος ### ##",
        streets="Οδός {name} {n}|Λεωφ. Κηφισίας {n}|Πλατεία {name} {n}",
        phones="21# ### ####|+30 ### ### ####",
        tax_ids="EL#########",
    ),
    Language(
        code="ru",
        point=",",
        thousands="\u00a0|",
        dates="%d.%m.%Y|%-d %B %Y г.",
        currencies=(("RUB", 4), ("KZT", 1)),
        rates=("10", "12", "20"),
        on_top=True,
        words=words(
            *("Счёт|СЧЁТ|Счёт-фактура", "Чек|Кассовый чек|Товарный чек", "Номер|Счёт №", "Дата|Дата выдачи"),
            *("Оплатить до", "Покупатель|Кому", "Тел.|Телефон", "ИНН", "Наименование|Товар", "Кол-во|Количество"),
            *("Цена", "Сумма|Стоимость", "Подытог|Итого без НДС", "Скидка", "НДС", "в т.ч. НДС"),
            *("Итого|ИТОГО|Всего к оплате", "Округление", "НДС уплачивает покупатель.", "Спасибо за покупку"),
            "Оплата в течение 10 дней.",
        ),
        months="января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря",
        products=(
            "Молоко 3,2 %|Хлеб ржаной|Сыр российский|Чай чёрный|Кофе молотый|Яблоки|Гречка 900 г|Мыло|"
            "Масло сливочное|Вода питьевая"
        ),
        services=(
            "Консультация|Ремонт оборудования|Перевод документов|Уборка офиса|Доставка и монтаж|Обучение персонала|"
            "Лицензия на год"
        ),
        people="Иванов|Смирнов|Кузнецов|Щукин|Фёдоров|Журавлёв|Морозов|Объедков|Ларин|Цветков",
        firms="ООО «{name}»|ИП {name}|Пекарня «{name}»|Магазин «{name}»|АО «{name} и сыновья»",
        cities="г. Тверь, ######|г. Пермь, ######|г. Казань, ######|г. Псков, ######",
        streets="ул. {name}а, д. {n}|пр. Мира, д. {n}|пер. Школьный, {n}",
        phones="+7 (###) ###-##-##|8 ### ###-##-##",
        tax_ids="##########|############",
    ),
)
