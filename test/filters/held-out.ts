import type { Labelled } from './labelled.ts';

/**
 * Sentences written by hand, none of them by the generator that the detectors were tuned on: other words, other formats,
 * other values. Data is marked `⟦kind:value⟧`. Those without a mark are made to look like data and are none.
 */
const sentences = `
You can reach me at ⟦email:m.okafor-bright@post.example.ng⟧ after six.
Send the invoice to ⟦email:accounts.payable@northwind-traders.example.com⟧, please.
cc: ⟦email:first.last+receipts@sub.domain.example.io⟧; bcc nobody
Her address is <⟦email:Zoë.d'Arc@example.museum⟧>.
mailto:⟦email:webmaster@xn--bcher-kva.example.net⟧?subject=hi
Ask '⟦email:q_99@example.co⟧' or "⟦email:r-7@example.info⟧".
Call ⟦phone:+1 (415) 555-0132⟧ before noon.
My cell is ⟦phone:415.555.0198⟧, text any time.
Our switchboard: ⟦phone:+44 (0)20 7946 0018⟧, extension 12.
Phone ⟦phone:01632 960 983⟧ and ask for Priya.
Ring me on ⟦phone:07700 900461⟧ tonight.
tel:⟦phone:+16505550147⟧
Dial ⟦phone:1-800-555-0175⟧ to cancel.
The office (⟦phone:(212) 555-0119⟧) is closed.
WhatsApp me: ⟦phone:+91 98765 43210⟧
Text ⟦phone:9876501234⟧ when you land.
Card on file: ⟦card:4539 1488 0343 6467⟧, expiry 04/27.
amex ⟦card:371449635398431⟧ cvv hidden
Please charge ⟦card:6011-0009-9013-9424⟧ once.
cc=⟦card:5105105105105100⟧&amount=20
Digits: ⟦card:4 5 3 9 1 4 8 8 0 3 4 3 6 4 6 7⟧, read slowly.
Pay 20 with ⟦card:4111 1111 1111 1111⟧.
Room 22 ⟦card:5555 5555 5555 4444⟧
The SSN ⟦us-ssn:536-90-4399⟧ appears twice.
social security no. ⟦us-ssn:536 22 8726⟧
His NI number is ⟦gb-nino:JG 10 37 59 A⟧.
national insurance: ⟦gb-nino:ab123456c⟧
The server ⟦ip:10.200.3.77⟧ did not answer.
ping ⟦ip:2a02:26f0:6c00:2b5::eed⟧ failed
Listening on [⟦ip:fe80::1ff:fe23:4567:890a⟧]:8080
loopback is ⟦ip:::1⟧, as ever
The laptop’s MAC is ⟦mac:3c:22:fb:a1:09:7e⟧.
arp: ⟦mac:001a.2b3c.4d5e⟧ on vlan 3
Copy it to ⟦hostname:fileserver-02.berlin.corp⟧ tonight.
ssh deploy@⟦hostname:bastion.prod.internal⟧
Die Rechnung geht an ⟦email:h.schäfer@stadtwerke.example.de⟧.
Ruf mich unter ⟦phone:0171 / 8 23 45 67⟧ an.
Tel.: ⟦phone:(0 30) 90 18-20⟧ oder am Schalter
Büro: ⟦phone:+49 (0)89 1234-5678⟧, Zimmer 4
Telefon ⟦phone:040 4289-3110⟧
Handy: ⟦phone:0160–99887766⟧
Meine Steuer-ID lautet ⟦de-tax-id:86 095 742 719⟧.
IdNr. ⟦de-tax-id:47036892816⟧ bitte eintragen
Überweisen Sie auf ⟦iban:DE89 3704 0044 0532 0130 00⟧ bis Freitag.
Kontoverbindung ⟦iban:AT611904300234573201⟧
⟦iban:CH93 0076 2011 6238 5295 7⟧ ist das Konto der Schweizer Filiale.
AHV-Nummer ⟦ch-ahv:756.9217.0769.85⟧
Karte ⟦card:4012 8888 8888 1881⟧ wurde gesperrt.
Écrivez à ⟦email:contact@mairie-saint-denis.example.fr⟧ avant lundi.
Mon portable : ⟦phone:06 39 98 12 34⟧.
Appelez le ⟦phone:01.99.00.45.67⟧, merci.
Numéro : ⟦phone:+33 (0)6 39 98 00 11⟧
joindre au ⟦phone:0639981200⟧ le soir
Le NIR ⟦fr-nir:1 85 05 78 006 084 91⟧ figure au dossier.
n° de sécu ⟦fr-nir:255081416802538⟧
Virement vers ⟦iban:FR14 2004 1010 0505 0001 3M02 606⟧.
La carte ⟦card:4970 1012 3456 7893⟧ a expiré, l’adresse IP ⟦ip:192.0.2.146⟧ aussi.
Mándalo a ⟦email:lucia_1987@correo.example.es⟧ hoy.
Mi móvil es ⟦phone:612 34 56 78⟧.
Llámame al ⟦phone:+34 912 345 678⟧ mañana
teléfono ⟦phone:91 234 56 78⟧, de 9 a 14
Su DNI es ⟦es-id:12345678Z⟧.
NIE: ⟦es-id:X-1234567-L⟧
El CPF del socio brasileño: ⟦br-cpf:529.982.247-25⟧
IBAN ⟦iban:ES91 2100 0418 4502 0005 1332⟧ a nombre de Ana
Scrivimi a ⟦email:giulia.rossi82@posta.example.it⟧ stasera.
Cellulare ⟦phone:347 1234567⟧, sempre acceso
Chiama lo ⟦phone:06 6982 1234⟧ per prenotare.
Il codice fiscale è ⟦it-code:RSSMRA85T10A562S⟧.
CF: ⟦it-code:bnchlr90a41f205r⟧
Bonifico su ⟦iban:IT60 X054 2811 1010 0000 0123 456⟧
Meu CPF é ⟦br-cpf:111.444.777-35⟧.
CPF ⟦br-cpf:52998224725⟧ confirmado
Ligue para ⟦phone:(11) 91234-5678⟧ amanhã.
Celular: ⟦phone:+55 21 99876-5432⟧
Mail naar ⟦email:jan.de.vries@gemeente.example.nl⟧.
Bel ⟦phone:06-12345678⟧ of kom langs.
Mijn BSN is ⟦nl-bsn:111222333⟧.
Rekening ⟦iban:NL91 ABNA 0417 1643 00⟧ graag
Rijksregisternummer ⟦be-number:85.07.30-033.28⟧
Napisz na ⟦email:k.wiśniewska@poczta.example.pl⟧.
Telefon ⟦phone:501 234 567⟧ po 18
zadzwoń: ⟦phone:+48 22 123 45 67⟧
PESEL ⟦pl-pesel:44051401359⟧ w dokumentach
Konto ⟦iban:PL61 1090 1014 0000 0712 1981 2874⟧
Skriv till ⟦email:åsa.lind@foretag.example.se⟧.
Personnummer ⟦se-number:811228-9874⟧
Ring ⟦phone:070-174 06 05⟧ ikväll
Hetu ⟦fi-id:131052-308T⟧ puuttuu.
Пишите на ⟦email:ivan.petrov@почта.example.ru⟧.
Мой телефон ⟦phone:8 (916) 123-45-67⟧, звоните
Звоните по номеру ⟦phone:+7 495 123-45-67⟧.
メールは⟦email:tanaka@example.co.jp⟧へ。
電話は⟦phone:03-1234-5678⟧です。
携帯:⟦phone:090-1234-5678⟧まで
请发到⟦email:wang.fang@example.com.cn⟧。
手机⟦phone:138 0013 8000⟧随时
电话：⟦phone:13800138000⟧
身份证号是⟦cn-id:11010519491231002X⟧。
آدرس ⟦email:sara@example.ir⟧ است
आधार ⟦in-aadhaar:2341 2341 2346⟧
{"to":"⟦email:ops@example.dev⟧","from":"⟦ip:172.16.254.1⟧"}
Order 4539148803436460 shipped on Monday.
Tracking no. 1Z999AA10123456784 left the depot.
ISBN 978-0-306-40615-7 is out of print.
ISBN 0-306-40615-2, second edition
Version 10.0.19045.3803 fixes it.
Upgrade to v1.2.3.4 or later.
Chrome/120.0.6099.129 Safari/537.36
The meeting is on 2024-03-15 at 14:30:00.
Am 05.03.2024 14:30 Uhr beginnt es.
Le 01.02.2024 08:15 à Lyon
Between 12:30:45 and 13:31:46 nothing happened.
Population: 1 234 567 890 in 2011.
It cost $1,234,567.89 in all.
Der Preis beträgt 1.234.567,89 Euro.
Total: 12 345,67 zł, VAT 23%
π ≈ 3.141592653589793
6.02214076e23 per mole
commit 9fceb02d0ae598e95dc970b74767f19372d61af8 was reverted.
md5 d41d8cd98f00b204e9800998ecf8427e
uuid 550e8400-e29b-41d4-a716-446655440000
#a1b2c3 is a colour, #fff is white
The ratio 16:9 and the score 3:2
GPS 52.520008, 13.404954
Lot 20240315-0042, batch 7
Serial SN-2024-000-123-456
Room 4.2.11.3 is upstairs.
See section 1.2.3.4 of the contract.
Unix time 1700000000, in ms 1700000000123
Flight LH 1234 at gate A12
PNR X7YZ2Q, seat 14C
Lottery: 03-14-22-37-41-45
std::vector<int>::iterator it;
a::b::c and fe::male
user @ home, @mention, 5 @ 3 EUR
foo@bar and @scope/package@1.2.3
example.org/path?x=1&y=2
https://example.com:8443/v1/chat/completions
She scored 555-1234 points? No: 555.
The code is 0000 0000 0000 0000.
Ticket INC0012345678 is closed.
Chapter 12 34 pages, 5 678 words
Rate 0.123 456 789 per day
Telefonkosten: 12,50 EUR im Jahr 2023
Bestellnummer 30 1234 5678 9
Le numéro de commande est 2024 0315 0042
Referencia 2024/00012345
EAN 4006381333931
Article 10 555 201 7788 pieces
DE12 is a postcode prefix, not an account.
IBAN looks like DE00 0000 0000 0000 0000 00.
GB29 was the room, NWBK the bank.
SSN field: 000-12-3456 is invalid, so is 666-12-3456.
Die Nummer 12345678901 steht im Katalog.
00:1B is half of it
He ran 5000 m in 14:22.15
192.168.1 is incomplete, 300.1.2.3 wrong
localhost and my-host are names without a domain
internal affairs, local time, home office
{"id":123456789012,"n":[1,2,3,4,5,6,7,8,9]}
2001: A Space Odyssey, 1984: a novel
ff:00:cc was the colour
1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
The ISSN is 2049-3630.
DOI 10.1000/xyz123.456
`;

/** The sentences with what is in them. */
export const heldOut: readonly Labelled[] = sentences
  .trim()
  .split('\n')
  .map((line) => ({
    text: line.replace(/⟦[a-z-]+:(.*?)⟧/g, '$1'),
    values: [...line.matchAll(/⟦([a-z-]+):(.*?)⟧/g)].map(([, kind = '', value = '']) => ({ kind, value })),
  }));
