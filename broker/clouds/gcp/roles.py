"""The least rights that do: for who launches, and for the machines.

Every permission here is used, and nothing is called that needs another; a test holds both to it.
"""

# In the project, for the user, or the CI job, that calls `mlbroker run`.
LAUNCHER = (
    "bigquery.jobs.create",
    "compute.acceleratorTypes.list",
    "compute.disks.create",
    "compute.disks.list",
    "compute.disks.setLabels",
    "compute.firewalls.list",
    "compute.globalOperations.list",
    "compute.images.get",
    "compute.images.getFromFamily",
    "compute.images.useReadOnly",
    "compute.instances.create",
    "compute.instances.createTagBinding",
    "compute.instances.delete",
    "compute.instances.get",
    "compute.instances.getSerialPortOutput",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.instances.setTags",
    "compute.machineTypes.get",
    "compute.machineTypes.list",
    "compute.projects.get",
    "compute.regions.get",
    "compute.regions.list",
    "compute.routers.list",
    "compute.subnetworks.get",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "compute.zoneOperations.get",
    "compute.zoneOperations.list",
    "resourcemanager.tagValueBindings.create",
    "secretmanager.secrets.create",
    "secretmanager.secrets.delete",
    "secretmanager.versions.add",
    "storage.buckets.list",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
# On the dataset of the billing export, from its owner: to read what Google bills.
READ_BILL = "roles/bigquery.dataViewer"
# On the machines' service accounts alone: to hand them over.
ACT_AS = "iam.serviceAccounts.actAs"

# For the machines, each on the condition of its seat: their job in, their results out, their own
# end, nothing else. Objects are replaced, which Cloud Storage counts as deleting them; listing
# is not needed, at the price that an object that is not there is answered with a 403
# (cloud.google.com/storage/docs/json_api/v1/status-codes).
GUEST = (
    "compute.instances.delete",
    "secretmanager.secrets.delete",
    "secretmanager.versions.access",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
)
