"""Search in panoramas: views of an equirectangular picture, tasks, protocols, folders of tasks."""
