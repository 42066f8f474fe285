#!/bin/bash
# Sets mlbroker up in <region>. Read it, then: bash FILE [MEMBER], where MEMBER calls mlbroker run
# (user:you@example.com, serviceAccount:ci@…); without one, only owners of the project can.
set -euo pipefail
project="$(gcloud config get-value project)"
gcloud services enable <services>
gcloud compute networks create <network> --subnet-mode=custom
gcloud compute networks subnets create <network> --network=<network> \
  --region=<region> --range=<range> --enable-private-ip-google-access
gcloud compute firewall-rules create <nodes_rule> --network=<network> \
  --direction=INGRESS --allow=all --source-tags=<nodes_tag> --target-tags=<nodes_tag>
gcloud storage buckets create "gs://<bucket>" --location=<region> \
  --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0
gcloud storage buckets update "gs://<bucket>" \
  --lifecycle-file=<(printf %s <lifecycle>)
gcloud iam roles create <guest_role> --project="$project" --permissions=<guest_rights>
gcloud iam roles create <launcher_role> --project="$project" \
  --permissions=<launcher_rights>
gcloud iam service-accounts create <guest_account> --display-name="mlbroker machines"
guest="serviceAccount:<guest>"
gcloud projects add-iam-policy-binding "$project" --member="$guest" \
  --role="projects/$project/roles/<guest_role>" \
  --condition=<condition>
gcloud storage buckets add-iam-policy-binding "gs://<bucket>" --member="$guest" \
  --role="projects/$project/roles/<guest_role>"
if [ $# -gt 0 ]; then
  gcloud projects add-iam-policy-binding "$project" --member="$1" --condition=None \
    --role="projects/$project/roles/<launcher_role>"
  # It holds <act_as>, for these machines alone.
  gcloud iam service-accounts add-iam-policy-binding <guest> \
    --member="$1" --role=roles/iam.serviceAccountUser
fi
