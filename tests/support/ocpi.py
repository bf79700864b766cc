"""A token as OCPI 2.2.1 has it (12.3.2), with all properties of its example and of ours."""

TOKEN = {
    "country_code": "DE",
    "party_id": "TNM",
    "uid": "012345678",
    "type": "RFID",
    "contract_id": "DE8ACC12E46L89",
    "visual_number": "DF000-2001-8999-1",
    "issuer": "TheNewMotion",
    "group_id": "DF000-2001-8999",
    "valid": True,
    "whitelist": "ALWAYS",
    "language": "de",
    "default_profile_type": "GREEN",
    "energy_contract": {"supplier_name": "x"},
    "last_updated": "2015-06-29T22:39:09",
}
