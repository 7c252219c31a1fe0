"""May this version be released: floors, non-inferiority, waivers, and a signed record of the decision."""
