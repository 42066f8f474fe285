"""How the index is laid out: what its writer writes and its reader reads."""

# Raised when the same tables come to be filled by other rules: an index made by older rules, or
# with other tables, is not opened but built anew.
LAYOUT = 4
# So many cheapest regions of each type and market are kept ready, in one blob a column.
SHORTLIST_DEPTH = 1
SHORTLIST_COLUMNS = (
    ("rank", "b"),
    ("type_id", "i"),
    ("spot", "b"),
    ("region_id", "i"),
    ("price_nano_usd", "q"),
    ("interruption_rate", "d"),
    ("fresh_day", "i"),
)

# The form of `machines`: the last one without references, which every later Python reads.
MARSHAL = 2
MACHINES = (
    "SELECT model, memory_gib, fp32_tflops, tensor_tflops, memory_bandwidth_gb_per_s, tdp_w"
    " FROM gpu ORDER BY id",
    "SELECT vcpus, memory_gib, arch, cpu, gpu_id, gpu_count, burstable, bare_metal, local_disk_gib,"
    " network_gbps, core_speed, threads_per_core, sockets FROM hardware ORDER BY id",
    "SELECT id, hardware_id, cloud, name, retired_day FROM type ORDER BY id",
)

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE source (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE gpu (id INTEGER PRIMARY KEY, model TEXT NOT NULL, memory_gib REAL NOT NULL,
  fp32_tflops REAL, tensor_tflops REAL, memory_bandwidth_gb_per_s REAL, tdp_w REAL);
CREATE TABLE hardware (id INTEGER PRIMARY KEY, vcpus REAL NOT NULL, memory_gib REAL NOT NULL,
  arch TEXT NOT NULL, cpu TEXT, gpu_id INTEGER, gpu_count REAL NOT NULL,
  burstable INTEGER NOT NULL, bare_metal INTEGER NOT NULL, local_disk_gib REAL, network_gbps REAL,
  core_speed REAL, threads_per_core INTEGER, sockets INTEGER);
CREATE TABLE type (id INTEGER PRIMARY KEY, cloud TEXT NOT NULL, name TEXT NOT NULL,
  hardware_id INTEGER NOT NULL, lifecycle TEXT NOT NULL, retired_day INTEGER NOT NULL,
  source_id INTEGER NOT NULL, day INTEGER NOT NULL, UNIQUE (cloud, name));
CREATE TABLE region (id INTEGER PRIMARY KEY, cloud TEXT NOT NULL, name TEXT NOT NULL,
  geography TEXT, country TEXT, disk TEXT, address TEXT, egress_internet TEXT, egress_near TEXT,
  egress_far TEXT, grid REAL, grid_source TEXT, pue REAL, UNIQUE (cloud, name));
-- fresh_day is the day of the price, or 0 when its source already calls it stale: stale is
-- fresh_day < the oldest fresh day of the day of use.
CREATE TABLE offer (region_id INTEGER NOT NULL, type_id INTEGER NOT NULL, spot INTEGER NOT NULL,
  price_nano_usd INTEGER NOT NULL, interruption_rate REAL, fresh_day INTEGER NOT NULL,
  day INTEGER NOT NULL, source_id INTEGER NOT NULL,
  -- The list price and the term's name, where the user's own terms make another price.
  list_nano_usd INTEGER, term TEXT,
  PRIMARY KEY (region_id, type_id, spot)) WITHOUT ROWID;
CREATE TABLE quarantine (region_id INTEGER, type_id INTEGER, spot INTEGER, price_nano_usd INTEGER,
  day INTEGER, source_id INTEGER,
  lowest_nano_usd INTEGER, highest_nano_usd INTEGER);
CREATE TABLE summary (cloud TEXT, spot INTEGER, source_id INTEGER, day INTEGER,
  fresh_day INTEGER, offers INTEGER);
CREATE TABLE shortlist (name TEXT PRIMARY KEY, data BLOB NOT NULL);
-- Every row of gpu, of hardware and of type in one piece: a plan reads them all.
CREATE TABLE machines (data BLOB NOT NULL);
CREATE TEMP TABLE staging (id INTEGER PRIMARY KEY, region_id INTEGER, type_id INTEGER,
  spot INTEGER, price_nano_usd INTEGER, interruption_rate REAL, fresh_day INTEGER, day INTEGER,
  source_id INTEGER, own INTEGER);
"""
