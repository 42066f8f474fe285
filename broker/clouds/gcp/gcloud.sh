#!/bin/bash
# Sets mlbroker up in <region>. Read it, then: bash FILE [MEMBER], where MEMBER calls mlbroker run
# (user:you@example.com, serviceAccount:ci@…); without one, only owners of the project can.
# What is there already stays as it is: the script may be run again.
set -euo pipefail
once() {
  local said
  said="$("$@" 2>&1)" || [[ $said == *already* ]] || { echo "$said" >&2; return 1; }
}
role() {
  once gcloud iam roles create "$1" --project="$project" --permissions="$2"
  gcloud iam roles update "$1" --project="$project" --permissions="$2" --quiet >/dev/null
}
project="$(gcloud config get-value project)"
gcloud services enable <services>
once gcloud compute networks create <network> --subnet-mode=custom
once gcloud compute networks subnets create <network> --network=<network> \
  --region=<region> --range=<range> --enable-private-ip-google-access
once gcloud compute firewall-rules create <nodes_rule> --network=<network> \
  --direction=INGRESS --allow=all --source-tags=<nodes_tag> --target-tags=<nodes_tag>
once gcloud storage buckets create "gs://<bucket>" --location=<region> \
  --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0
gcloud storage buckets update "gs://<bucket>" \
  --lifecycle-file=<(printf %s <lifecycle>)
role <guest_role> <guest_rights>
role <launcher_role> <launcher_rights>
once gcloud resource-manager tags keys create <seat_tag> --parent="projects/$project"
if [ $# -gt 0 ]; then
  gcloud projects add-iam-policy-binding "$project" --member="$1" --condition=None \
    --role="projects/$project/roles/<launcher_role>"
fi
for seat in <seats>; do
  once gcloud iam service-accounts create <guest_account> \
    --display-name="mlbroker machines, seat $seat"
  once gcloud resource-manager tags values create "$seat" --parent="$project/<seat_tag>"
  gcloud projects add-iam-policy-binding "$project" --member="serviceAccount:<guest>" \
    --role="projects/$project/roles/<guest_role>" --condition-from-file=<(cat <<END
title: seat $seat of <region>
expression: '<own_things>'
END
)
  gcloud storage buckets add-iam-policy-binding "gs://<bucket>" --member="serviceAccount:<guest>" \
    --role="projects/$project/roles/<guest_role>" --condition-from-file=<(cat <<END
title: seat $seat
expression: '<own_objects>'
END
)
  if [ $# -gt 0 ]; then
    # It holds <act_as>, for these machines alone.
    gcloud iam service-accounts add-iam-policy-binding "<guest>" \
      --member="$1" --role=roles/iam.serviceAccountUser
  fi
done
