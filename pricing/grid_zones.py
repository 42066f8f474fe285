"""Which cloud regions draw from which grid zone, by the zone's name at who measures it.

Names are Electricity Maps' (`US-MIDA-PJM`) and WattTime's (`PJM_DC`), after the columns
`em-zone-id` and `wt-region-id` of the Green Software Foundation's cloud region metadata
(Green-Software-Foundation/real-time-cloud, `Cloud_Region_Metadata_estimate.csv`, commit 02e4c2c),
and for further regions of the same places. Regions on which that table, the place and our yearly
figures disagree are left out, as are names of whole countries with several grids: who knows better
says which region a file is for.
"""

from collections.abc import Iterable

from mlbroker.pricing.region import Region

# Countries on one grid, at either source: Electricity Maps' code, then WattTime's and the book's.
_COUNTRIES = (
    *(("AE", "ARE"), ("AT", "AUT"), ("BE", "BEL"), ("BH", "BHR"), ("CH", "CHE"), ("DE", "DEU")),
    *(("ES", "ESP"), ("FI", "FIN"), ("FR", "FRA"), ("GB", "GBR"), ("HK", "HKG"), ("ID", "IDN")),
    *(("IE", "IRL"), ("IL", "ISR"), ("KR", "KOR"), ("MX", "MEX"), ("NL", "NLD"), ("NZ", "NZL")),
    *(("PL", "POL"), ("QA", "QAT"), ("SA", "SAU"), ("SE", "SWE"), ("SG", "SGP"), ("TH", "THA")),
    *(("TW", "TWN"), ("UK", "GBR"), ("ZA", "ZAF")),
)
_COUNTRY_OF = {name: code for pair in _COUNTRIES for code in pair[1:] for name in pair}
_CALIFORNIA = "aws/us-west-1 gcp/us-west2"
_OREGON = "aws/us-west-2 aws/us-gov-west-1 gcp/us-west1"
_OHIO = "aws/us-east-2 gcp/us-east5"
_VIRGINIA = "aws/us-east-1 aws/us-gov-east-1 gcp/us-east4 azure/eastus azure/eastus2"
_IOWA = "gcp/us-central1 azure/centralus"
_ONTARIO = "gcp/northamerica-northeast2 azure/canadacentral"
_QUEBEC = "aws/ca-central-1 gcp/northamerica-northeast1 azure/canadaeast"
_TOKYO = "aws/ap-northeast-1 gcp/asia-northeast1 azure/japaneast"
_KANSAI = "aws/ap-northeast-3 gcp/asia-northeast2 azure/japanwest"
_SYDNEY = "aws/ap-southeast-2 gcp/australia-southeast1 azure/australiaeast"
_MELBOURNE = "aws/ap-southeast-4 gcp/australia-southeast2 azure/australiasoutheast"
_ZONES = {
    "AU-NSW": _SYDNEY,
    "NEM_NSW": _SYDNEY,
    "AU-VIC": _MELBOURNE,
    "NEM_VIC": _MELBOURNE,
    "BR-CS": "aws/sa-east-1 gcp/southamerica-east1 azure/brazilsouth azure/brazilsoutheast",
    "CA-ON": _ONTARIO,
    "IESO_NORTH": _ONTARIO,
    "CA-QC": _QUEBEC,
    "HQ": _QUEBEC,
    "CL-SEN": "gcp/southamerica-west1 azure/chilecentral",
    "IN-NO": "gcp/asia-south2",
    "IN-SO": "aws/ap-south-2 azure/southindia",
    "IN-WE": "aws/ap-south-1 gcp/asia-south1 azure/centralindia azure/westindia",
    "IT-NO": "aws/eu-south-1 gcp/europe-west8 gcp/europe-west12 azure/italynorth",
    "JP-KN": _KANSAI,
    "JP_KN": _KANSAI,
    "JP-TK": _TOKYO,
    "JP_TK": _TOKYO,
    "MY-WM": "aws/ap-southeast-5 azure/malaysiawest",
    "NZ-NZN": "aws/ap-southeast-6 azure/newzealandnorth",
    "NO-NO1": "azure/norwayeast",
    "SE-SE3": "aws/eu-north-1 gcp/europe-north2 azure/swedencentral",
    "US-CAL-CISO": _CALIFORNIA,
    "CAISO_NORTH": "aws/us-west-1",
    "LDWP": "gcp/us-west2",
    "US-CAR-SC": "gcp/us-east1",
    "SC": "gcp/us-east1",
    "US-MIDA-PJM": f"{_VIRGINIA} {_OHIO}",
    "PJM_DC": _VIRGINIA,
    "PJM_SOUTHWEST_OH": _OHIO,
    "US-MIDW-MISO": _IOWA,
    "MISO_MASON_CITY": _IOWA,
    "US-NW-BPAT": _OREGON,
    "BPA": _OREGON,
    "US-NW-NEVP": "gcp/us-west4",
    "NEVP": "gcp/us-west4",
    "US-NW-PACE": "gcp/us-west3",
    "PACE": "gcp/us-west3",
    "US-TEX-ERCO": "gcp/us-south1 azure/southcentralus",
    "ERCOT_NORTHCENTRAL": "gcp/us-south1",
    "ERCOT_SANANTONIO": "azure/southcentralus",
    "WACM": "azure/westcentralus",
    "AZPS": "azure/westus3",
}


def place(region: Region) -> str:
    """A region's name across clouds: `aws/us-east-1`."""
    return f"{region.cloud}/{region.name}"


def places_on(zone: str, regions: Iterable[Region]) -> tuple[str, ...]:
    """Those of the regions that draw from a grid zone; none where that is not known."""
    name = zone.strip().upper()
    country, listed = _COUNTRY_OF.get(name), _ZONES.get(name, "").split()
    return tuple(
        here
        for region in regions
        if (here := place(region)) in listed or (country is not None and region.country == country)
    )
