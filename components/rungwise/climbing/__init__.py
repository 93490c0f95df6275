"""The loop over rungs, the policy that decides, the store of attempts."""
