"""BankSight on Alibaba Cloud: one ROS stack, for the primary or the standby region."""
