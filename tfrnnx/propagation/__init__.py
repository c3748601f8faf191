"""What an explanation is: methods, and the relevance rules that they are made of."""
