"""The tasks that a trained model is finetuned and measured on, each one file that keeps the promise of `task.Task`.

    data file -> records -> read -> Examples -> sample -> Sample, as in pretraining
                                             -> what the model wrote, chose or ranked -> score

A task knows neither the model nor the trainer: finetuning, evaluation and serving use only what `Task` lists.
"""
