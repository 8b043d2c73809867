"""Lists the templates draw from. Nothing here comes from a data set: the lists were written for this corpus."""


def listed(text: str) -> list[str]:
    """The phrases of a text, one a line or parted by bars."""
    return text.strip().replace("\n", "|").split("|")


def worded(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


FIRST_NAMES = worded("""
Maria John Anna Peter Sofia Daniel Emma Lucas Olivia Noah Ava Liam Mia Ethan Grace Jack Chloe Harry Ella Oscar
Ruby Leo Amelia Arthur Isla Henry Freya Theo Alice Max Clara Felix Nora Hugo Ines Pablo Carmen Diego Lucia Mateo
Elena Marco Giulia Paolo Chiara Luca Aisha Omar Fatima Yusuf Layla Hassan Priya Arjun Anita Ravi Meera Sanjay Wei
Mei Jun Yuki Hana Kenji Sakura Akira Ngozi Chidi Amara Kwame Zainab Tariq Ingrid Lars Astrid Sven Freja Nils Katya
Ivan Olga Dmitri Irina Pavel Zofia Marta Jakub Tomasz Agnes Bela Ilona Petra Jana Milan Vera Stefan Monika Dieter
Greta Klaus Heidi Otto Brigitte Colette Pierre Sylvie Antoine Camille Jules Margot Simon Rachel David Ruth Samuel
Hannah Aaron Miriam Joel Naomi Walter Edith George Martha Frank Judith Keith Doris Brian Sheila Colin Moira Duncan
Fiona Angus Rhona Gareth Bronwen Rhys Sian Declan Niamh Cormac Aoife Bruno Tereza Rosa Miguel Beatriz Joana Rui
""")

LAST_NAMES = worded("""
Lopez Smith Garcia Brown Patel Khan Miller Davis Wilson Moore Taylor Jackson Martin Lee Thompson White Harris
Clark Lewis Walker Hall Allen Young King Wright Scott Green Baker Adams Nelson Carter Mitchell Roberts Turner
Phillips Campbell Parker Evans Edwards Collins Stewart Morris Rogers Reed Cook Morgan Bell Murphy Bailey Rivera
Cooper Richardson Cox Howard Ward Torres Peterson Gray Ramirez James Watson Brooks Kelly Sanders Price Bennett
Wood Barnes Ross Henderson Coleman Jenkins Perry Powell Long Hughes Flores Washington Butler Simmons Foster
Gonzalez Bryant Alexander Russell Griffin Hayes Singh Sharma Gupta Mehta Chen Wang Zhang Liu Tanaka Suzuki Sato
Okafor Mensah Adeyemi Novak Horvat Kowalski Nowak Ivanova Petrov Jensen Hansen Larsen Berg Lindqvist Virtanen
Schmidt Weber Fischer Wagner Becker Hoffmann Dubois Laurent Moreau Rossi Bianchi Ferrari Romano Costa Silva Santos
Pereira Almeida Fernandes Haddad Nasser Rahman Ahmed Hussain Cohen Levi Katz Byrne Doyle Walsh Quinn Sinclair
Fraser Llewellyn Pritchard
""")

ODD_LAST_NAMES = worded("""
O'Brien O'Connor O'Neill D'Angelo Smith-Jones Garcia-Lopez Lloyd-Price MacDonald McCarthy DeWitt Müller Muñoz
Nuñez Gómez Sørensen Åkerman Çelik Dvořák Łukaszewicz Façon García González Jiménez Pérez
""")

ODD_FIRST_NAMES = worded("""
Anne-Marie Jean-Luc José Zoë Chloé André Renée Søren Björn Jürgen Łucja Noël Inés Íñigo Mary-Jane
""")

SYLLABLES = worded("""
ba be bi bo bra bren cal can car ce cha chi cor da dan de del di do dra du el en er fa fen fi flo fra ga gar ge gi
go gra ha hel hi ho hu il in is ja jen jo ka kar ke ki kol ku la lan le li lin lo lu ma mar me mi mon mu na nel ni
no nor o os pa pel pi pra qua ra ran re ri ro ru sa sel sha si so ster stra su ta tan te ti tor tra tu u va vel vi
vo wa wen wi xa ya yo za zel zi zo
""")

SYLLABLE_ENDS = worded("""
a an ar as ck d el en er es ez ia in is k l ley ll m man n na ne ner o on or ov ra rd rt s sen ski son t ta th ton
us vic y z
""")

TITLES = ["Mr", "Mrs", "Ms", "Dr", "Miss"]

REASONS = listed("""
a check-up|a cleaning|a blood test|a follow-up|a flu shot|a vaccination|a sore throat|back pain|knee pain|a cough
a rash|an earache|a headache|a toothache|an x-ray|a consultation|a prescription renewal|an eye test|a hearing test
a physical|a filling|a crown|a sprained ankle|chest pain|a fever|an allergy test|stitches|a second opinion
migraines|a blood pressure check|a skin check|dizziness|stomach pain|a haircut|a massage|a passport photo
a home visit
""")
