"""What walking in a scene is made of: the floor and its distances, the walker, goals, episodes and eyes."""
